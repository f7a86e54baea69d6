import type { MethodDefinition } from '@grpc/grpc-js';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import { encodePem } from '../x509/pem.ts';

/**
 * The part of Envoy's API that this room speaks, with its packages, names and field numbers. From github.com/envoyproxy/envoy (Apache-2.0),
 * `api/envoy/service/{discovery,secret}/v3`, `config/core/v3/base.proto`, `extensions/transport_sockets/tls/v3`, and googleapis (Apache-2.0),
 * `google/rpc/status.proto`. Fields that nobody here reads or writes are left out: they are skipped on the wire.
 *
 * `Node.metadata` is a `google.protobuf.Struct`, which nests without end; here it is as deep as tags are, and the rest is skipped.
 */
const API = {
  nested: {
    google: {
      nested: {
        protobuf: {
          nested: { Any: { fields: { typeUrl: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } } },
        },
        rpc: {
          nested: { Status: { fields: { code: { type: 'int32', id: 1 }, message: { type: 'string', id: 2 } } } },
        },
      },
    },
    envoy: {
      nested: {
        config: {
          nested: {
            core: {
              nested: {
                v3: {
                  nested: {
                    Node: {
                      fields: {
                        id: { type: 'string', id: 1 },
                        cluster: { type: 'string', id: 2 },
                        metadata: { type: 'Metadata', id: 3 },
                      },
                    },
                    Metadata: { fields: { fields: { keyType: 'string', type: 'MetadataValue', id: 1 } } },
                    MetadataValue: { fields: { structValue: { type: 'TagStruct', id: 5 } } },
                    TagStruct: { fields: { fields: { keyType: 'string', type: 'TagValue', id: 1 } } },
                    TagValue: {
                      oneofs: { kind: { oneof: ['stringValue', 'listValue'] } },
                      fields: { stringValue: { type: 'string', id: 3 }, listValue: { type: 'TagList', id: 6 } },
                    },
                    TagList: { fields: { values: { rule: 'repeated', type: 'TagText', id: 1 } } },
                    TagText: { fields: { stringValue: { type: 'string', id: 3 } } },
                    DataSource: { fields: { inlineBytes: { type: 'bytes', id: 2 } } },
                  },
                },
              },
            },
          },
        },
        extensions: {
          nested: {
            transport_sockets: {
              nested: {
                tls: {
                  nested: {
                    v3: {
                      nested: {
                        Secret: {
                          oneofs: { type: { oneof: ['tlsCertificate', 'validationContext'] } },
                          fields: {
                            name: { type: 'string', id: 1 },
                            tlsCertificate: { type: 'TlsCertificate', id: 2 },
                            validationContext: { type: 'CertificateValidationContext', id: 4 },
                          },
                        },
                        TlsCertificate: {
                          fields: {
                            certificateChain: { type: 'envoy.config.core.v3.DataSource', id: 1 },
                            privateKey: { type: 'envoy.config.core.v3.DataSource', id: 2 },
                          },
                        },
                        CertificateValidationContext: {
                          fields: { trustedCa: { type: 'envoy.config.core.v3.DataSource', id: 1 } },
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
        service: {
          nested: {
            discovery: {
              nested: {
                v3: {
                  nested: {
                    DiscoveryRequest: {
                      fields: {
                        versionInfo: { type: 'string', id: 1 },
                        node: { type: 'envoy.config.core.v3.Node', id: 2 },
                        resourceNames: { rule: 'repeated', type: 'string', id: 3 },
                        typeUrl: { type: 'string', id: 4 },
                        responseNonce: { type: 'string', id: 5 },
                        errorDetail: { type: 'google.rpc.Status', id: 6 },
                      },
                    },
                    DiscoveryResponse: {
                      fields: {
                        versionInfo: { type: 'string', id: 1 },
                        resources: { rule: 'repeated', type: 'google.protobuf.Any', id: 2 },
                        typeUrl: { type: 'string', id: 4 },
                        nonce: { type: 'string', id: 5 },
                      },
                    },
                    DeltaDiscoveryRequest: {
                      fields: {
                        node: { type: 'envoy.config.core.v3.Node', id: 1 },
                        typeUrl: { type: 'string', id: 2 },
                        resourceNamesSubscribe: { rule: 'repeated', type: 'string', id: 3 },
                        resourceNamesUnsubscribe: { rule: 'repeated', type: 'string', id: 4 },
                        initialResourceVersions: { keyType: 'string', type: 'string', id: 5 },
                        responseNonce: { type: 'string', id: 6 },
                        errorDetail: { type: 'google.rpc.Status', id: 7 },
                      },
                    },
                    DeltaDiscoveryResponse: {
                      fields: {
                        systemVersionInfo: { type: 'string', id: 1 },
                        resources: { rule: 'repeated', type: 'Resource', id: 2 },
                        typeUrl: { type: 'string', id: 4 },
                        nonce: { type: 'string', id: 5 },
                      },
                    },
                    Resource: {
                      fields: {
                        version: { type: 'string', id: 1 },
                        resource: { type: 'google.protobuf.Any', id: 2 },
                        name: { type: 'string', id: 3 },
                      },
                    },
                  },
                },
              },
            },
            secret: {
              nested: {
                v3: {
                  nested: {
                    SecretDiscoveryService: {
                      methods: {
                        DeltaSecrets: {
                          requestType: 'envoy.service.discovery.v3.DeltaDiscoveryRequest',
                          requestStream: true,
                          responseType: 'envoy.service.discovery.v3.DeltaDiscoveryResponse',
                          responseStream: true,
                        },
                        StreamSecrets: {
                          requestType: 'envoy.service.discovery.v3.DiscoveryRequest',
                          requestStream: true,
                          responseType: 'envoy.service.discovery.v3.DiscoveryResponse',
                          responseStream: true,
                        },
                        FetchSecrets: {
                          requestType: 'envoy.service.discovery.v3.DiscoveryRequest',
                          responseType: 'envoy.service.discovery.v3.DiscoveryResponse',
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
};

const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';
/** Of every request and resource here. */
export const SECRET_TYPE_URL = `type.googleapis.com/${SECRET}`;

const definitions = fromJSON(API as Parameters<typeof fromJSON>[0], { defaults: true, longs: Number });

export interface Any {
  readonly typeUrl: string;
  readonly value: Buffer;
}

/** As they stand on the wire; requests are read by `read-request.ts`. */
export interface DiscoveryResponse {
  readonly versionInfo: string;
  readonly resources: readonly Any[];
  readonly typeUrl: string;
  readonly nonce: string;
}

export interface DeltaDiscoveryResponse {
  readonly resources: readonly { readonly version: string; readonly name: string; readonly resource: Any }[];
  readonly typeUrl: string;
  readonly nonce: string;
}

type Method<Response> = MethodDefinition<unknown, Response>;

/** For server and client. */
export type SecretService = {
  readonly StreamSecrets: Method<DiscoveryResponse>;
  readonly DeltaSecrets: Method<DeltaDiscoveryResponse>;
};

export const SECRET_SERVICE = definitions['envoy.service.secret.v3.SecretDiscoveryService'] as unknown as SecretService;

/** A Secret as tests read it. */
export interface Secret {
  readonly name: string;
  readonly tlsCertificate?: {
    readonly certificateChain: { readonly inlineBytes: Buffer };
    readonly privateKey: { readonly inlineBytes: Buffer };
  };
  readonly validationContext?: { readonly trustedCa: { readonly inlineBytes: Buffer } };
}

const secretType = definitions[SECRET] as unknown as MessageTypeDefinition<Secret, Secret>;

/** The roots of a mesh. Made once for each version: thousands of streams send the same bytes. */
export function trustSecret(name: string, pem: string): Any {
  return secret({ name, validationContext: { trustedCa: { inlineBytes: Buffer.from(pem) } } });
}

/** @param chain DER, the leaf's issuer first; @param privateKeyDer PKCS#8 */
export function identitySecret(
  name: string,
  { leaf, chain, privateKeyDer }: { leaf: Buffer; chain: readonly Buffer[]; privateKeyDer: Buffer },
): Any {
  const pem = [leaf, ...chain].map((der) => encodePem('CERTIFICATE', der)).join('');
  return secret({
    name,
    tlsCertificate: {
      certificateChain: { inlineBytes: Buffer.from(pem) },
      privateKey: { inlineBytes: Buffer.from(encodePem('PRIVATE KEY', privateKeyDer)) },
    },
  });
}

function secret(content: Secret): Any {
  return { typeUrl: SECRET_TYPE_URL, value: secretType.serialize(content) };
}

export function readSecret(any: Any): Secret {
  return secretType.deserialize(any.value);
}
