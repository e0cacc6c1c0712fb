import { diag } from "@opentelemetry/api";

/** Does what a part of the SDK may throw in: that is told to OpenTelemetry's `diag`, and costs no call. */
export function guarded<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    diag.error("@jetrpc/otel", error);
    return undefined;
  }
}
