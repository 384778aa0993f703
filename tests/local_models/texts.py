"""Texts that encoders are compared on: of the tiny vocabulary, and 200 of everyday English."""

TEXTS = [
    "the cat",
    "",
    "a red fox jumps over the lazy dog .",
    "birds " * 60,
    "unheard words",
    "she sings by the old river at night with the stars and the moon",
    "fish",
]
PAIRS = [
    ("the bird sings", text)
    for text in ("she sings", "cats eat fish", "the young birds fly over the sea", "a tree", "stars " * 70)
]

_PLACES = ["kitchen", "harbour", "library", "garden", "station", "market", "hospital", "museum", "forest", "office"]
_EVENTS = [
    "The {} was closed for repairs after the storm.",
    "Two children lost their way near the {} last night.",
    "A new {} opens on Monday, and entry is free for pupils.",
    "The price of coffee at the {} rose by a tenth this year.",
    "Engineers measured the noise around the {} for a week and wrote a report of forty pages that nobody has read yet.",
    "Nobody knows who painted the walls of the {}.",
    "Dogs are welcome in the {}.",
    "The {} needs volunteers who can cook, drive or keep accounts.",
    "Rain came through the roof of the {} again, and buckets stood on every floor until the morning.",
    "Music from the {} could be heard across the water.",
]
_DETAILS = ["", " The council will vote on it in March."]
RANKED = [event.format(place) + detail for detail in _DETAILS for event in _EVENTS for place in _PLACES]
QUERIES = [
    "Where can I take my pet?",
    "damage by bad weather",
    "a concert by the sea",
    "missing kids",
    "How much does a hot drink cost?",
]
