import { clone, create, type DescFile } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

/** Copies of a file and of all that it imports, for a test to change; the file is the last one. */
export function fileSetOf(file: DescFile): FileDescriptorSet {
  const set = create(FileDescriptorSetSchema);
  const add = (each: DescFile) => {
    for (const dependency of each.dependencies) {
      add(dependency);
    }
    if (!set.file.some(({ name }) => name === each.proto.name)) {
      set.file.push(clone(FileDescriptorProtoSchema, each.proto));
    }
  };
  add(file);
  return set;
}
