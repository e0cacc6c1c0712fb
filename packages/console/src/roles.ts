import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Role } from "./console-options.js";
import { ConsoleService } from "./gen/jetrpc/console/v1/console_service_pb.js";

/** The methods of the console that only look, as `Identity.methods` has them. */
export const readMethods: readonly string[] = ConsoleService.methods
  .filter(({ idempotency }) => idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS)
  .map(({ name }) => `${ConsoleService.typeName}/${name}`);

/** The role of who may call these methods; undefined: all. */
export function roleOf(methods: readonly string[] | undefined): Role {
  const isWhole = methods === undefined || methods.includes(ConsoleService.typeName);
  return isWhole ? "act" : "read";
}

/** True for a method, `jetrpc.console.v1.ConsoleService/GetCall`, that only looks. */
export function onlyLooks(method: string): boolean {
  return readMethods.includes(method);
}
