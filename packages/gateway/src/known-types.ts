import { createRegistry, type DescService, type Registry } from "@bufbuild/protobuf";
import { typesOf } from "@jetrpc/runtime/schema";

/** The types of all services that are known, also of those that become known later. */
export class KnownTypes implements Registry {
  readonly kind = "registry";
  private readonly services = new Map<string, Registry>();
  private all: Registry | undefined;

  /** Adds the types of a service, instead of those that it had before. */
  add(service: DescService): void {
    this.services.set(service.typeName, typesOf(service));
    this.all = undefined;
  }

  private get registry(): Registry {
    this.all ??= createRegistry(...this.services.values());
    return this.all;
  }

  [Symbol.iterator]: Registry[typeof Symbol.iterator] = () => this.registry[Symbol.iterator]();
  get: Registry["get"] = (name) => this.registry.get(name);
  getMessage: Registry["getMessage"] = (name) => this.registry.getMessage(name);
  getEnum: Registry["getEnum"] = (name) => this.registry.getEnum(name);
  getExtension: Registry["getExtension"] = (name) => this.registry.getExtension(name);
  getExtensionFor: Registry["getExtensionFor"] = (extendee, no) =>
    this.registry.getExtensionFor(extendee, no);
  getService: Registry["getService"] = (name) => this.registry.getService(name);
}
