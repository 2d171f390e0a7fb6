"""GridRepublic's jobs API: submit prompts, look for the output later."""
