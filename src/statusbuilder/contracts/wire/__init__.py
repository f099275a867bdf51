"""The backend's messages, generated from our own .proto files with `nox -s protos`.

Import what is needed by name (`from statusbuilder.contracts.wire import workflow_pb2`): each module registers its
messages with protobuf when it is imported, and nothing here imports all three.
"""
