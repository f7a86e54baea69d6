import { type SdsServer, sdsCluster, sdsConfig, tokenSecrets } from '../../src/cli/envoy/sds.ts';
import { exactSpiffeIds, type SecretSource } from './proxy-bootstrap.ts';

/** Certificate, key and roots from mesh-ca, fetched as the bootstraps of `mesh-ca envoy-bootstrap` do. */
export function sdsSecrets(sds: SdsServer): SecretSource {
  const config = sdsConfig(sds);
  return {
    secrets: tokenSecrets(sds),
    clusters: [sdsCluster(sds)],
    tlsContext: (peerIds) => ({
      tls_certificate_sds_secret_configs: [{ name: 'identity_cert', sds_config: config }],
      combined_validation_context: {
        default_validation_context: { match_typed_subject_alt_names: exactSpiffeIds(peerIds) },
        validation_context_sds_secret_config: { name: 'mesh_ca', sds_config: config },
      },
    }),
  };
}
