import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptionsSchema, ServiceOptionsSchema } from "@jetrpc/runtime/jetrpc/v1/options_pb.js";
import type { OptionProblem } from "@jetrpc/runtime/schema";

/** Numbers of the options in ServiceDescriptorProto and MethodDescriptorProto, and of ours. */
const optionsOf = { service: 3, rpc: 4 } as const;
const extension = 51190;

/** `file:line:column` of an option, or of what has it; the name where the image has no places. */
export function locate({ desc, field }: OptionProblem): string {
  const { proto } = fileOf(desc);
  const schema = desc.kind === "service" ? ServiceOptionsSchema : MethodOptionsSchema;
  const number = schema.fields.find(({ name }) => name === field)?.number ?? 0;
  const own = pathOf(desc);
  const option = [...own, optionsOf[desc.kind], extension];
  for (const path of [[...option, number], option, own]) {
    const found = proto.sourceCodeInfo?.location.find(
      (its) => path.every((each, index) => its.path[index] === each) && its.span.length > 0,
    );
    const [line, column] = found?.span ?? [];
    if (line !== undefined && column !== undefined) {
      return `${proto.name}:${line + 1}:${column + 1}`;
    }
  }
  return `${proto.name}: ${desc.toString()}`;
}

function fileOf(desc: DescService | DescMethod): DescFile {
  return desc.kind === "service" ? desc.file : desc.parent.file;
}

/** Where SourceCodeInfo has something: field numbers of descriptor.proto, and indexes. */
function pathOf(desc: DescService | DescMethod): number[] {
  return desc.kind === "service"
    ? [6, desc.file.services.indexOf(desc)]
    : [...pathOf(desc.parent), 2, desc.parent.methods.indexOf(desc)];
}
