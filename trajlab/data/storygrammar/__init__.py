"""The embedded corpus: stories from a grammar whose probabilities are known."""

from trajlab.data.storygrammar.stories import StoryGrammar

__all__ = ["StoryGrammar"]
