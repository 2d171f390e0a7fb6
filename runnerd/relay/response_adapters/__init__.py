"""What the engine's answers lack of OpenAI's: put together, renamed and completed, as they come."""
