"""``python -m trajlab``: signals are handled before anything else is imported, then the line is read.

What torch reads when it is imported is set here, and commands that only read what is stored go their own, short way.
"""

import shlex
import sys

from trajlab import interruption
from trajlab.cores import let_threads_sleep


def main() -> None:
    """The command line."""
    let_threads_sleep()
    if sys.argv[1:2] in (["report"], ["calibrate"]):  # of what is stored: no configuration is composed
        from trajlab.analysis.__main__ import main as analyse

        return analyse(sys.argv[1:], program="python -m trajlab")
    if sys.argv[1:2] == ["status"]:
        from trajlab.status import main as status

        try:
            return status(sys.argv[2:])
        except KeyboardInterrupt:  # the way to end --watch
            sys.exit(130)
    if {"-h", "--help"} & set(sys.argv[1:]):
        from trajlab.help import page

        return print(page())
    asked = shlex.join(["python", "-m", "trajlab", *sys.argv[1:]])
    try:
        with interruption.installed():
            from trajlab.command_line import run_line  # imports Hydra: half a second in which a signal may come

            run_line(sys.argv)
    except interruption.Interrupted as e:
        print(
            f"trajlab: stopped by {e}. To go on, write the same command again:\n  {asked}", file=sys.stderr, flush=True
        )
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
