import { createRegistry, type DescFile, type DescService, type Registry } from "@bufbuild/protobuf";

const registries = new WeakMap<DescService, Registry>();

/**
 * The types of a service's file and of all that it imports: what fields of `Any` may hold
 * in JSON. Made when the first one asks.
 */
export function typesOf(service: DescService): Registry {
  let registry = registries.get(service);
  if (!registry) {
    const files = new Set<DescFile>([service.file]);
    // A set goes on to those that are added meanwhile.
    for (const file of files) {
      for (const imported of file.dependencies) {
        files.add(imported);
      }
    }
    registry = createRegistry(...files);
    registries.set(service, registry);
  }
  return registry;
}
