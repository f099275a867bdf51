"""Agent executions: messages, streamed text, tool calls, sub-agents and todos."""
