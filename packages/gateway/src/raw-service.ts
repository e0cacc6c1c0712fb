import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type DescService,
  create as make,
} from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { holdsBlobs } from "@jetrpc/runtime/schema";

/**
 * The same service with messages that have no fields: all that a message has stays as the bytes
 * it came in, as unknown fields, and is written again in the same order. A call between two
 * sides that both speak binary so costs no look at the fields. Not so for requests that may hold a
 * Blob: those are looked for.
 */
export function rawService(service: DescService): DescService {
  const messages = new Map<string, DescMessage>();
  const raw = ({ typeName }: DescMessage): DescMessage => {
    const known = messages.get(typeName) ?? emptyMessage(typeName);
    messages.set(typeName, known);
    return known;
  };
  const methods: DescMethod[] = [];
  const method: Record<string, DescMethod> = {};
  const copy: DescService = { ...service, methods, method };
  for (const desc of service.methods) {
    const input = holdsBlobs(desc.input) ? desc.input : raw(desc.input);
    const same = { ...desc, parent: copy, input, output: raw(desc.output) };
    methods.push(same);
    method[desc.localName] = same;
  }
  return copy;
}

/** A message of a name, without a field. */
function emptyMessage(typeName: string): DescMessage {
  const dot = typeName.lastIndexOf(".");
  const file = make(FileDescriptorProtoSchema, {
    name: `${typeName}.proto`,
    package: typeName.slice(0, Math.max(dot, 0)),
    syntax: "proto3",
    messageType: [make(DescriptorProtoSchema, { name: typeName.slice(dot + 1) })],
  });
  const registry = createFileRegistry(make(FileDescriptorSetSchema, { file: [file] }));
  return registry.getMessage(typeName) as DescMessage;
}
