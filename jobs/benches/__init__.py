"""Speed against named peers, one file a bench."""
