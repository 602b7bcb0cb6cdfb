"""Works: what one worker computes between two agreements."""
