"""What of OpenAI's API the engine does not speak itself; the rest passes through the relay."""
