import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { createOperator, type Operator } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { UsageError } from "./exit-code.js";
import type { Schema } from "./schema.js";

/** The operator of a service, and its service. */
export interface ServiceOperator {
  readonly service: DescService;
  readonly operator: Operator;
}

/** Operators of all services that are meant and have durable methods. */
export function operatorsOf(connection: Connection, { services }: Schema): ServiceOperator[] {
  return services
    .filter((service) => durableMethods(service).length > 0)
    .map((service) => ({ service, operator: createOperator(connection, service) }));
}

/** Finds the service of a durable method, named `Letter` or `greet.v1.GreetService.Letter`. */
export function findMethod(
  operators: readonly ServiceOperator[],
  name: string,
): ServiceOperator & { method: string } {
  const found = operators.flatMap((each) =>
    durableMethods(each.service)
      .filter((method) => name === method || name === `${each.service.typeName}.${method}`)
      .map((method) => ({ ...each, method })),
  );
  const [only] = found;
  if (only && found.length === 1) {
    return only;
  }
  const all = (
    found.length > 0 ? found.map(({ service }) => service) : operators.map((each) => each.service)
  )
    .flatMap((service) => durableMethods(service).map((method) => `${service.typeName}.${method}`))
    .filter((full) => found.length === 0 || full.endsWith(`.${name}`));
  throw new UsageError(
    found.length > 0
      ? `several services have a method ${name}: write one of ${all.join(", ")}`
      : `no durable method is named ${name}: there are ${all.join(", ") || "none"}`,
  );
}

function durableMethods(service: DescService): string[] {
  return [...bindService(service).methods.values()]
    .filter(({ delivery }) => delivery === "durable")
    .map(({ desc }) => desc.name);
}
