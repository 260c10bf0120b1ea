"""What this node knows of itself: `Node.apply(event, now)` turns what was seen into changes. No I/O."""
