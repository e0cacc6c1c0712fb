import type { MethodBinding } from "@jetrpc/runtime/schema";
import { codeName } from "@jetrpc/runtime/schema";

/** What the schema says of a method, defaults included, for a person. */
export function optionsOf(binding: MethodBinding): { name: string; value: string }[] {
  const { delivery, timeoutMs, concurrency } = binding;
  const all: Record<string, string> = {
    delivery,
    timeout: timeoutMs > 0 ? seconds(timeoutMs) : "no limit",
    concurrency: concurrency > 0 ? `${concurrency}` : "that of the worker",
  };
  if (delivery === "durable") {
    const { maxAttempts, backoffMs, ackWaitMs, resume, maxConcurrency, retryCodes, priorities } =
      binding;
    Object.assign(all, {
      max_attempts: `${maxAttempts}`,
      backoff: backoffMs.map(seconds).join(", ") || "none",
      retry_codes: [...retryCodes].map(codeName).join(", "),
      ack_wait: seconds(ackWaitMs),
      resume,
      max_concurrency: maxConcurrency > 0 ? `${maxConcurrency}` : "no limit",
      priorities: priorities ? "yes" : "no",
    });
  }
  return Object.entries(all).map(([name, value]) => ({ name, value }));
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
