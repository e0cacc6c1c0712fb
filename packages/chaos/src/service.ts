import { getOption, setExtension } from "@bufbuild/protobuf";
import type {
  DurableServerStreamingMethod,
  DurableUnaryMethod,
  UnaryMethod,
} from "@jetrpc/runtime";
import { service as serviceOption } from "@jetrpc/runtime/jetrpc/v1/options_pb.js";
import {
  ChaosService,
  type ConvertRequestSchema,
  type ConvertResponseSchema,
  type CountRequestSchema,
  type CountResponseSchema,
  type WorkRequestSchema,
  type WorkResponseSchema,
} from "./gen/chaos/v1/chaos_pb.js";

/**
 * The service that is attacked, with a copy of everything on each of so many servers.
 * To be called before the service is used: its descriptor is changed.
 */
export function serviceFor(nodes: number): typeof ChaosService {
  const { options } = ChaosService.proto;
  if (options) {
    setExtension(options, serviceOption, {
      ...getOption(ChaosService, serviceOption),
      replicas: nodes,
    });
  }
  return ChaosService;
}

type Work = DurableUnaryMethod<typeof WorkRequestSchema, typeof WorkResponseSchema>;

/** What the generator would write. */
export interface ChaosClient {
  work: Work;
  rank: Work;
  share: Work;
  try: Work;
  count: DurableServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
  convert: DurableUnaryMethod<typeof ConvertRequestSchema, typeof ConvertResponseSchema>;
  ask: UnaryMethod<typeof WorkRequestSchema, typeof WorkResponseSchema>;
}
