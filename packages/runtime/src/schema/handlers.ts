import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Throws Code.InvalidArgument for handlers in a plain object whose methods the service lacks.
 * An object of a class may have methods that are no handlers.
 */
export function checkHandlers(service: DescService, impl: object): void {
  const strange = isPlain(impl)
    ? Object.entries(impl).filter(
        ([name, handler]) => typeof handler === "function" && !Object.hasOwn(service.method, name),
      )
    : [];
  if (strange.length > 0) {
    const names = strange.map(([name]) => `"${name}"`).join(", ");
    const methods = service.methods.map(({ localName }) => localName).join(", ");
    throw new ConnectError(
      `${service.typeName} has no method ${names}: it has ${methods}`,
      Code.InvalidArgument,
    );
  }
}

/** True for an object that no class has made. */
export function isPlain(object: object): boolean {
  return Object.getPrototypeOf(object) === Object.prototype;
}
