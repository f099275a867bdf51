"""A receiver of OpenTelemetry's own protocol, for tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


class Collector(grpc.GenericRpcHandler):
    """A receiver of OTLP over gRPC."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self._server = grpc.server(ThreadPoolExecutor(2), handlers=[self])
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        traces, metrics = trace_service_pb2, metrics_service_pb2
        known = {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export": (
                traces.ExportTraceServiceRequest,
                traces.ExportTraceServiceResponse,
                self.spans,
            ),
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": (
                metrics.ExportMetricsServiceRequest,
                metrics.ExportMetricsServiceResponse,
                self.metrics,
            ),
        }
        if details.method not in known:
            return None
        request, response, received = known[details.method]

        def export(message: Any, context: grpc.ServicerContext) -> Any:
            received.append(message)
            return response()

        return grpc.unary_unary_rpc_method_handler(
            export, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )

    def stop(self) -> None:
        self._server.stop(0).wait()


def received(collector: Collector) -> list[Any]:
    """Return all spans that the receiver got."""
    groups = (resource.scope_spans for message in collector.spans for resource in message.resource_spans)
    return [span for group in groups for scope in group for span in scope.spans]
