"""What the engine's responses lack of OpenAI's: put together, renamed, completed as they come."""
