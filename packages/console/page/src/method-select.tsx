import { Delivery } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { useSession } from "./session.js";

/** Chooses a service, or a durable method of one. */
export function MethodSelect({
  service,
  method,
  onChange,
}: {
  service: string;
  method: string;
  onChange: (service: string, method: string) => void;
}) {
  const { services } = useSession();
  return (
    <label>
      Method
      <select
        value={`${service}/${method}`}
        onChange={(event) => {
          const [service = "", method = ""] = event.target.value.split("/");
          onChange(service, method);
        }}
      >
        <option value="/">all</option>
        {services.map(({ name, methods }) => (
          <optgroup key={name} label={name}>
            <option value={`${name}/`}>all of {name}</option>
            {methods
              .filter(({ delivery }) => delivery === Delivery.DURABLE)
              .map((each) => (
                <option key={each.name} value={`${name}/${each.name}`}>
                  {each.name}
                </option>
              ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}
