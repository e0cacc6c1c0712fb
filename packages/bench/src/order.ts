import {
  create,
  fromBinary,
  type JsonValue,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Order, OrderSchema, OrderState } from "./gen/bench/v1/bench_pb.js";

/** An order as an app hands it to its client. */
export type OrderInit = MessageInitShape<typeof OrderSchema>;

/** Makes an order: some 20 fields, of which some have fields themselves. */
export function makeOrder(): OrderInit {
  const address = {
    name: "Ada Lovelace",
    street: "12 St James's Square",
    postalCode: "SW1Y 4JH",
    city: "London",
    countryCode: "GB",
  };
  return {
    orderId: "ord_01JD8Y6Z3QF4N7W2",
    customerId: "cus_8431",
    email: "ada@example.com",
    phone: "+44 20 7946 0958",
    state: OrderState.PAID,
    createTime: { seconds: 1_764_144_000n, nanos: 120_000_000 },
    updateTime: { seconds: 1_764_147_600n, nanos: 480_000_000 },
    shippingAddress: address,
    billingAddress: address,
    lines: [
      { sku: "BK-0042", title: "Notes on the Analytical Engine", quantity: 1, unitPrice: gbp(24n) },
      { sku: "PN-0007", title: "Fountain pen, blue", quantity: 2, unitPrice: gbp(18n) },
      { sku: "PP-1200", title: "Paper, 120 g, 500 sheets", quantity: 3, unitPrice: gbp(9n) },
    ],
    subtotal: gbp(87n),
    tax: gbp(17n),
    total: gbp(104n),
    payment: {
      case: "card",
      value: { brand: "visa", lastDigits: "4242", expiryMonth: 11, expiryYear: 2029 },
    },
    coupons: ["WELCOME10", "FREESHIP"],
    labels: { channel: "web", campaign: "autumn", region: "eu-west-2" },
    weightKg: 4.25,
    revision: 3,
    isGift: true,
    note: "Please leave it with the neighbours, at number 14.",
  };
}

function gbp(units: bigint) {
  return { currencyCode: "GBP", units, nanos: 500_000_000 };
}

/** Writes an order by protobuf-es, as an app does that has no RPC library. */
export function writeOrder(order: OrderInit): Uint8Array {
  return toBinary(OrderSchema, create(OrderSchema, order));
}

/** Reads an order by protobuf-es. */
export function readOrder(bytes: Uint8Array): Order {
  return fromBinary(OrderSchema, bytes);
}

/** Bytes of an order on the wire. */
export const orderBytes = writeOrder(makeOrder()).length;

/** An order for a library that takes JSON. */
export function orderAsJson(): JsonValue {
  return toJson(OrderSchema, create(OrderSchema, makeOrder()));
}
