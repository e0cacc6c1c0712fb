import { createRegistry, type DescService, type Registry } from "@bufbuild/protobuf";
import { withImports } from "./imported-files.js";

const registries = new WeakMap<DescService, Registry>();

/**
 * The types of a service's file and of all that it imports: what fields of `Any` may hold
 * in JSON. Made when the first one asks.
 */
export function typesOf(service: DescService): Registry {
  let registry = registries.get(service);
  if (!registry) {
    registry = createRegistry(...withImports(service.file));
    registries.set(service, registry);
  }
  return registry;
}
