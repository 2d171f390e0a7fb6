"""What several test suites need: a real daemon process, and ways to wait for things."""
