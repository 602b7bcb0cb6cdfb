"""What a method is, the one loop that runs any of them, and when it stops."""
