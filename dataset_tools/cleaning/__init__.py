"""What becomes of raw interactions: order, copies, filters."""
