import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { createOperator, type Operator } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { findMethodNamed } from "./find-method.js";
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

/** Finds the service of a durable method. Throws UsageError: see {@link findMethodNamed}. */
export function findMethod(
  operators: readonly ServiceOperator[],
  name: string,
): ServiceOperator & { method: string } {
  const methods = operators.flatMap(({ service }) => durableMethods(service));
  const found = findMethodNamed(methods, name, "durable method");
  const its = operators.find(({ service }) => service === found.parent) as ServiceOperator;
  return { ...its, method: found.name };
}

/** The durable methods of a service. */
export function durableMethods(service: DescService): DescMethod[] {
  return [...bindService(service).methods.values()]
    .filter(({ delivery }) => delivery === "durable")
    .map(({ desc }) => desc);
}
