"""Pantry's API: for programs made with pantry-rs.

| module | calls |
|---|---|
| `registering` | register_user |
| `asking` | request_permissions, _download, _load(_flex), _unload, get_request_status |
| `statuses` | get_llm_status, get_available_llms, get_running_llms |
| `activating` | load_llm(_flex), unload_llm |
| `downloading` | download_llm, get_or_download_llm |
| `bare` | bare_model(_flex) |
| `sessions` | create_session(_id, _flex), prompt_session_stream, interrupt_session |

Who asks is said in each body (`bodies`); what that may do is said where it is said of all others,
in `access`.  Types are in `wire`, what errors look like in `customs`.
"""
