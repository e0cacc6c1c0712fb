import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type Interceptor } from "@connectrpc/connect";
import { normalize } from "../message/codec.js";
import {
  type AnyRequest,
  type AnyResponse,
  asStream,
  chain,
  normalizeAll,
} from "../message/interceptor-chain.js";
import { onlyMessage } from "../message/only-message.js";
import type { AnyHandler } from "./handler.js";

/** Runs interceptors around a handler, the first outermost. The result is a handler alike. */
export function interceptHandler(
  method: DescMethod,
  handler: AnyHandler,
  interceptors: readonly Interceptor[],
): AnyHandler {
  if (interceptors.length === 0) {
    return handler;
  }
  const call = async (
    message: Message | AsyncIterable<Message>,
    context: HandlerContext,
  ): Promise<AnyResponse> => {
    const request = toRequest(method, message, context);
    const run = chain(interceptors, (last) =>
      invoke(method, handler, last, last === request ? context : derive(context, last)),
    );
    const response = await run(request);
    adopt(context, response, "header");
    return response;
  };
  switch (method.methodKind) {
    case "unary":
      return async (message, context) => {
        const response = await call(message, context);
        adopt(context, response, "trailer");
        return response.message;
      };
    case "client_streaming":
      return async (messages, context) => {
        const response = await call(messages, context);
        let only: Message | undefined;
        for await (const message of response.message as AsyncIterable<Message>) {
          only = message;
        }
        adopt(context, response, "trailer");
        if (!only) {
          throw new ConnectError(`${method.toString()} gave no response`, Code.Internal);
        }
        return only;
      };
    default:
      return async function* (message, context) {
        const isOne = method.methodKind === "server_streaming";
        const response = await call(isOne ? asStream(message) : message, context);
        yield* response.message as AsyncIterable<Message>;
        adopt(context, response, "trailer");
      };
  }
}

/** Calls the handler with what the interceptors left of the request. */
async function invoke(
  method: DescMethod,
  handler: AnyHandler,
  request: AnyRequest,
  context: HandlerContext,
): Promise<AnyResponse> {
  const { output } = method;
  if (method.methodKind === "unary") {
    const message = normalize(output, await handler(request.message, context));
    return toResponse(method, message, context);
  }
  const messages = request.message as AsyncIterable<Message>;
  switch (method.methodKind) {
    case "client_streaming": {
      const message = normalize(output, await handler(messages, context));
      return toResponse(method, asStream(message), context);
    }
    case "server_streaming":
      return toResponse(
        method,
        normalizeAll(method.output, handler(await onlyMessage(method, messages), context)),
        context,
      );
    default:
      return toResponse(method, normalizeAll(method.output, handler(messages, context)), context);
  }
}

/** A request whose parts are made when an interceptor asks for them. */
function toRequest(
  method: DescMethod,
  message: Message | AsyncIterable<Message>,
  context: HandlerContext,
): AnyRequest {
  return {
    stream: method.methodKind !== "unary",
    service: method.parent,
    method,
    requestMethod: context.requestMethod,
    url: context.url,
    message,
    contextValues: context.values,
    get header() {
      return context.requestHeader;
    },
    get signal() {
      return context.signal;
    },
  } as AnyRequest;
}

function toResponse(
  method: DescMethod,
  message: Message | AsyncIterable<Message>,
  context: HandlerContext,
): AnyResponse {
  return {
    stream: method.methodKind !== "unary",
    service: method.parent,
    method,
    message,
    get header() {
      return context.responseHeader;
    },
    get trailer() {
      return context.responseTrailer;
    },
  } as AnyResponse;
}

/** The context as an interceptor changed it in its copy of the request. */
function derive(context: HandlerContext, request: AnyRequest): HandlerContext {
  const changed = new Map<PropertyKey, unknown>([
    ["requestHeader", request.header],
    ["signal", request.signal],
    ["values", request.contextValues],
  ]);
  return new Proxy(context, {
    get: (target, key) => (changed.has(key) ? changed.get(key) : Reflect.get(target, key, target)),
  });
}

/** Takes over metadata that an interceptor put into an object of its own. */
function adopt(context: HandlerContext, response: AnyResponse, part: "header" | "trailer"): void {
  if (Object.getOwnPropertyDescriptor(response, part)?.get) {
    // Our own response: the handler's context is where it comes from.
    return;
  }
  const target = part === "header" ? context.responseHeader : context.responseTrailer;
  if (response[part] !== target) {
    response[part].forEach((value, name) => {
      target.set(name, value);
    });
  }
}
