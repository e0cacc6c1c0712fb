import type {
  BidiStreamingMethod,
  ClientStreamingMethod,
  DurableServerStreamingMethod,
  DurableUnaryMethod,
  ServerStreamingMethod,
  UnaryMethod,
} from "@jetrpc/runtime";
import type {
  ItemSchema,
  StoreRequestSchema,
  StoreResponseSchema,
} from "../gen/fuzz/v1/fuzz_pb.js";

type I = typeof ItemSchema;

/** The code that the generator would write. */
export interface FuzzClient {
  echo: UnaryMethod<I, I>;
  limited: UnaryMethod<I, I>;
  count: ServerStreamingMethod<I, I>;
  sum: ClientStreamingMethod<I, I>;
  chat: BidiStreamingMethod<I, I>;
  work: DurableUnaryMethod<I, I>;
  list: DurableServerStreamingMethod<I, I>;
  store: DurableUnaryMethod<typeof StoreRequestSchema, typeof StoreResponseSchema>;
  rank: DurableUnaryMethod<I, I>;
}
