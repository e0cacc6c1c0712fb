import type { DurableServerStreamingMethod, DurableUnaryMethod } from "@jetrpc/runtime";
import {
  ClusterService,
  type ConvertRequestSchema,
  type ConvertResponseSchema,
  type CountRequestSchema,
  type CountResponseSchema,
  SingleService,
  type WorkRequestSchema,
  type WorkResponseSchema,
} from "./gen/chaos/v1/chaos_pb.js";

/** The service that is attacked, by the number of servers. */
export function serviceFor(nodes: number): typeof SingleService | typeof ClusterService {
  return nodes === 1 ? SingleService : ClusterService;
}

/** What the generator would write. */
export interface ChaosClient {
  work: DurableUnaryMethod<typeof WorkRequestSchema, typeof WorkResponseSchema>;
  count: DurableServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
  convert: DurableUnaryMethod<typeof ConvertRequestSchema, typeof ConvertResponseSchema>;
}
