"""What all share that talk to a backend over gRPC: its address, its channel, its key, and what its answers say."""

from __future__ import annotations

from ._grpc_answer import held_version
from ._grpc_channel import Tls, check_key, credentials, insecure_key_allowed, open_channel
from ._grpc_reason import explain_reading
from ._grpc_target import Target, read_target

__all__ = [
    "Target",
    "Tls",
    "check_key",
    "credentials",
    "explain_reading",
    "held_version",
    "insecure_key_allowed",
    "open_channel",
    "read_target",
]
