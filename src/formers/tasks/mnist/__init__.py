"""Images of digits: completed or made pixel by pixel, and judged by a classifier."""
