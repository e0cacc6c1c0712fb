import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Throws Code.InvalidArgument for what is no object, and for handlers in a plain object whose
 * methods the service lacks. An object of a class may have methods that are no handlers.
 */
export function checkHandlers(service: DescService, impl: object): void {
  if (Object(impl) !== impl) {
    throw new ConnectError(
      `the handlers of ${service.typeName} are ${String(impl)}, and must be an object with methods: ${service.typeName} has ${methodNames(service)}`,
      Code.InvalidArgument,
    );
  }
  const strange = isPlain(impl)
    ? Object.entries(impl).filter(
        ([name, handler]) => typeof handler === "function" && !Object.hasOwn(service.method, name),
      )
    : [];
  if (strange.length > 0) {
    const names = strange.map(([name]) => `"${name}"`).join(", ");
    throw new ConnectError(
      `${service.typeName} has no method ${names}: it has ${methodNames(service)}`,
      Code.InvalidArgument,
    );
  }
}

/** The methods that a service has, for an error. */
export function methodNames({ methods }: DescService): string {
  return methods.map(({ localName }) => localName).join(", ") || "none: add one to its .proto";
}

/** True for an object that no class has made. */
export function isPlain(object: object): boolean {
  return Object.getPrototypeOf(object) === Object.prototype;
}
