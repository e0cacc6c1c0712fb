import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { bindService } from "../schema/bind-service.js";
import type { MethodBinding } from "../schema/binding.js";
import { checkHandlers, isPlain, methodNames } from "../schema/handlers.js";
import type { AnyHandler } from "./handler.js";

/**
 * The handlers of the methods that an object implements. Throws InvalidArgument when it
 * implements none, or a method that the service lacks.
 */
export function findHandlers(
  service: DescService,
  impl: object,
  answerUnimplemented: boolean,
): Map<MethodBinding, AnyHandler> {
  const handlers = new Map<MethodBinding, AnyHandler>();
  const { methods } = bindService(service);
  checkHandlers(service, impl);
  for (const [name, method] of methods) {
    // Only what the object itself or its class defines: a method may be named
    // like one that every object has.
    const handler =
      name in Object.prototype && !Object.hasOwn(impl, name) && isPlain(impl)
        ? undefined
        : (impl as Record<string, unknown>)[name];
    if (typeof handler === "function") {
      handlers.set(method, handler.bind(impl));
    } else if (answerUnimplemented) {
      handlers.set(method, unimplemented(method.desc));
    }
  }
  if (handlers.size === 0) {
    throw new ConnectError(
      `the worker implements no method of ${service.typeName}, which has ${methodNames(service)}`,
      Code.InvalidArgument,
    );
  }
  return handlers;
}

function unimplemented(desc: DescMethod): AnyHandler {
  return () => {
    throw new ConnectError(`${desc.toString()} is not implemented`, Code.Unimplemented);
  };
}
