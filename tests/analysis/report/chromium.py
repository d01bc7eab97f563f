"""A page opened in a real headless Chromium, at several widths at once."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

PROGRAM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--virtual-time-budget=8000",
    "--window-size=1300,900",
)  # fmt: skip

LISTEN = "<script>window.errors=[];onerror=(m)=>{errors.push(String(m))};console.error=(...m)=>{errors.push(m.join(' '))};</script>"

PROBE = """
const pages = JSON.parse(document.getElementById("pages").textContent), found = {};
const look = (frame, width) => {
  const w = frame.contentWindow, d = frame.contentDocument;
  d.querySelectorAll("details").forEach((e) => (e.open = true));
  d.querySelectorAll("th button, .views button").forEach((b) => b.click());
  const cut = [...d.body.querySelectorAll("*")].filter((e) => !e.closest(".scroll, nav ul, svg, .skip, .vh") &&
    e.getBoundingClientRect().right > width + 1).map((e) => e.tagName + "." + e.className);
  const names = [...d.querySelectorAll('[role=img],[role=region],nav,img')].filter((e) => !(e.getAttribute("aria-label") || e.alt));
  const drawn = [...d.querySelectorAll("[data-told] svg")].find((e) => e.getBoundingClientRect().width > 0);
  const at = drawn ? drawn.getBoundingClientRect() : null;
  if (drawn) drawn.dispatchEvent(new w.PointerEvent("pointermove", {clientX: at.left + at.width / 2, clientY: at.top + at.height / 2}));
  const ids = [...d.querySelectorAll("[id]")].map((e) => e.id);
  found[width] = {errors: w.errors, over: d.documentElement.scrollWidth - d.documentElement.clientWidth, cut,
    nameless: names.length + [...d.querySelectorAll("button,summary,a")].filter((e) => !e.textContent.trim()).length,
    twice: ids.filter((id, i) => ids.indexOf(id) !== i), hostile: w.hostile || d.title === "hostile",
    loaded: w.performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")),
    told: (d.querySelector(".tip") || {}).textContent || "",
    sorted: (d.querySelector("th[aria-sort]") || {}).textContent || ""};
  if (Object.keys(found).length === pages.widths.length) {
    document.getElementById("pages").remove();
    document.querySelectorAll("iframe").forEach((f) => f.remove());
    document.getElementById("found").textContent = JSON.stringify(found);
  }
};
for (const width of pages.widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "border:0;height:900px;width:" + width + "px";
  frame.addEventListener("load", () => setTimeout(() => look(frame, width), 200));
  frame.srcdoc = pages.page;
  document.body.append(frame);
}
"""


def opened(page: Path, widths: tuple[int, ...], folder: Path) -> dict[str, dict]:
    """What Chromium finds at each width, every fold open and every button pressed; the page is alone in ``folder``."""
    assert PROGRAM is not None
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + LISTEN, 1)
    pages = json.dumps({"page": text, "widths": widths}).replace("<", "\\u003c")
    probe = folder / "probe.html"
    probe.write_text(
        f'<!doctype html><meta charset="utf-8"><body><pre id="found"></pre><script type="application/json" id="pages">{pages}'
        f"</script><script>{PROBE}</script></body>",
        encoding="utf-8",
    )
    command = [PROGRAM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert match, done.stderr[-2000:]
    assert match[1], done.stderr[-2000:]
    return json.loads(unescape(match[1]))
