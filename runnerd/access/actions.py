"""What routes do, in words that permissions can be given for.

Each route of relay and control plane declares one action; a route without one does not start.
"""

from __future__ import annotations

import enum


class Action(enum.StrEnum):
    """What a request does to the daemon.

    | action | examples |
    |---|---|
    | PUBLIC | the version, health, a browser's preflight: nothing that tells of models |
    | USE_MODEL | completions, embeddings, tokenising; loads the model if it has to |
    | VIEW_MODELS | lists of models, what one is made of |
    | VIEW_RUNNERS | what is loaded, how much it takes, backends |
    | VIEW_METRICS | figures for monitoring |
    | VIEW_REQUESTS | what was asked, by whom, without its text |
    | CANCEL_REQUEST | ending a request that runs: one's own, and for owners all |
    | VIEW_CONTENT | the text of what was asked and answered, where it is kept |
    | VIEW_LOGS | the daemon's and the engines' logs |
    | USE_JOBS | work that waits: submitting, seeing and cancelling one's own |
    | USE_RESPONSES | responses that were kept: reading and deleting one's own |
    | USE_SESSIONS | conversations that stay: making, prompting, reading and deleting one's own |
    | LOAD_MODEL, UNLOAD_MODEL | bringing a model into memory and out of it, on purpose |
    | CONFIGURE_MODEL | how a model is loaded and kept |
    | DOWNLOAD_MODEL | pulls: beginning, following, cancelling |
    | UPLOAD_MODEL | pushes to a registry |
    | EXPORT_MODEL | a model's files, as an archive |
    | CREATE_MODEL | imports, models made of others, tags |
    | DELETE_MODEL | removing models, tags and leftovers |
    | MANAGE_BACKENDS | installing engines |
    | USE_ENGINE | a runner's own socket, which speaks the engine's own API |
    | REQUEST_DOWNLOAD, REQUEST_LOAD, REQUEST_UNLOAD | asking the owner to do it |
    | BARE_MODEL | where a model's files are, for a program that opens them itself |
    | REGISTER | becoming a user that may nothing yet |
    | USE_ACCOUNT | what somebody may know and ask for of itself: permissions, usage, requests |
    | MANAGE_USERS | users and keys: seeing, adding, changing, removing them |
    | MANAGE_APPROVALS | what users have asked the owner for: seeing, accepting, rejecting it |
    | MANAGE_DATABASE | a copy of the whole database, and putting one in its place |
    | VIEW_USAGE | how many requests and tokens whom and what took |
    | VIEW_AUDIT | who has changed what |
    """

    PUBLIC = "public"
    USE_MODEL = "use_model"
    VIEW_MODELS = "view_models"
    VIEW_RUNNERS = "view_runners"
    VIEW_METRICS = "view_metrics"
    VIEW_REQUESTS = "view_requests"
    CANCEL_REQUEST = "cancel_request"
    VIEW_CONTENT = "view_content"
    VIEW_LOGS = "view_logs"
    USE_RESPONSES = "use_responses"
    USE_SESSIONS = "use_sessions"
    USE_JOBS = "use_jobs"
    LOAD_MODEL = "load_model"
    UNLOAD_MODEL = "unload_model"
    CONFIGURE_MODEL = "configure_model"
    DOWNLOAD_MODEL = "download_model"
    UPLOAD_MODEL = "upload_model"
    EXPORT_MODEL = "export_model"
    CREATE_MODEL = "create_model"
    DELETE_MODEL = "delete_model"
    MANAGE_BACKENDS = "manage_backends"
    USE_ENGINE = "use_engine"
    BARE_MODEL = "bare_model"
    REGISTER = "register"
    REQUEST_DOWNLOAD = "request_download"
    REQUEST_LOAD = "request_load"
    REQUEST_UNLOAD = "request_unload"
    USE_ACCOUNT = "use_account"
    MANAGE_USERS = "manage_users"
    MANAGE_APPROVALS = "manage_approvals"
    MANAGE_DATABASE = "manage_database"
    VIEW_USAGE = "view_usage"
    VIEW_AUDIT = "view_audit"
