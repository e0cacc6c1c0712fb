import type { Watch } from "../link/observer.js";
import { watchMessages } from "../link/watched-messages.js";
import type { AnyHandler } from "./handler.js";
import type { ServedMethod } from "./served-method.js";

/** The handler of a method, each step of which is run by a watch. */
export function watchedHandler(
  { handler, method }: ServedMethod,
  watch: Watch | undefined,
): AnyHandler {
  if (!watch) {
    return handler;
  }
  const { methodKind } = method.desc;
  if (methodKind === "unary") {
    return (input, context) => {
      context.watch = watch;
      return watch.run(() => handler(input, context));
    };
  }
  return (input, context) => {
    context.watch = watch;
    const isOne = methodKind === "server_streaming";
    const requests =
      isOne || !watch.message ? input : watchMessages<unknown>(watch, input, "received");
    const response = watch.run(() => handler(requests, context));
    return methodKind === "client_streaming"
      ? response
      : watchMessages<unknown>(watch, response, "sent");
  };
}
