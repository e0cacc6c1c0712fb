import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { diag, type MeterProvider, metrics, type ObservableResult } from "@opentelemetry/api";
import { Attr, Metric, Own } from "./conventions.js";
import { scope } from "./scope.js";

/**
 * Reports the metric `jetrpc.queue.calls`: how many calls of each durable method wait and run, in
 * all workers together. They are counted at the server whenever metrics are collected: do so
 * in one process. The role `observer` may do it. Returns a function that ends it.
 */
export function observeQueues(
  connection: Connection,
  services: readonly DescService[],
  options: { meterProvider?: MeterProvider | undefined } = {},
): () => void {
  const provider = options.meterProvider ?? metrics.getMeterProvider();
  const gauge = provider
    .getMeter(scope.name, scope.version)
    .createObservableGauge(Metric.queueCalls, {
      description: "Durable calls that wait for a worker, and that a worker has.",
      unit: "{call}",
    });
  const operators = services.map((service) => ({
    service,
    operator: createOperator(connection, service),
  }));
  const report = async (result: ObservableResult) => {
    await Promise.all(
      operators.map(async ({ service, operator }) => {
        try {
          for (const { method, queued, running } of await operator.queues()) {
            const rpcMethod = { [Attr.rpcMethod]: `${service.typeName}/${method}` };
            result.observe(queued, { ...rpcMethod, [Own.state]: "queued" });
            result.observe(running, { ...rpcMethod, [Own.state]: "running" });
          }
        } catch (error) {
          diag.warn(`the queues of ${service.typeName} could not be counted`, error);
        }
      }),
    );
  };
  gauge.addCallback(report);
  return () => gauge.removeCallback(report);
}
