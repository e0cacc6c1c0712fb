import {
  clone,
  createFileRegistry,
  type DescService,
  getOption,
  setExtension,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
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

const copies = new Map<number, DescService>();

/** The service that is attacked, with a copy of everything on each of so many servers. */
export function serviceFor(nodes: number): typeof ChaosService {
  const copy = copies.get(nodes) ?? (nodes === 1 ? ChaosService : replicated(nodes));
  copies.set(nodes, copy);
  return copy as typeof ChaosService;
}

/** The same file with another number of replicas: options are a part of a descriptor. */
function replicated(replicas: number): DescService {
  const { file, typeName, name: own } = ChaosService;
  const proto = clone(FileDescriptorProtoSchema, file.proto);
  const options = proto.service.find(({ name }) => name === own)?.options;
  if (options) {
    const option = { ...getOption(ChaosService, serviceOption), replicas };
    setExtension(options, serviceOption, option);
  }
  const known = new Map(file.dependencies.map((each) => [each.proto.name, each]));
  return createFileRegistry(proto, (name) => known.get(name)).getService(typeName) as DescService;
}

type Work = DurableUnaryMethod<typeof WorkRequestSchema, typeof WorkResponseSchema>;

/** The code that the generator would write. */
export interface ChaosClient {
  work: Work;
  rank: Work;
  share: Work;
  try: Work;
  count: DurableServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
  convert: DurableUnaryMethod<typeof ConvertRequestSchema, typeof ConvertResponseSchema>;
  ask: UnaryMethod<typeof WorkRequestSchema, typeof WorkResponseSchema>;
}
