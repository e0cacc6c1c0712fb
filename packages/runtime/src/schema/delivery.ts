import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Delivery, type MethodOptionsSchema } from "../gen/jetrpc/v1/options_pb.js";

/** How a method is delivered: as its option says, or else by what kind it is of. */
export function methodDelivery(
  desc: DescMethod,
  options: MessageShape<typeof MethodOptionsSchema>,
): "direct" | "durable" {
  switch (options.delivery) {
    case Delivery.DIRECT:
      return "direct";
    case Delivery.DURABLE:
      return "durable";
    // checkMethodOptions() refuses numbers without a name.
    default:
      return streamsRequests(desc) ||
        desc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
        ? "direct"
        : "durable";
  }
}

/** True when the caller of a method sends many messages. */
export function streamsRequests(desc: DescMethod): boolean {
  return desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
}
