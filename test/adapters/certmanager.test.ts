import { module } from '../../adapters/certmanager/module.ts';
import { testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { startCertManagerController, TEST_ISSUER } from '../fakes/kubernetes/cert-manager-controller.ts';
import { startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';

for (const isPinned of [true, false]) {
  testIssuer(`certmanager, fake server, ${isPinned ? 'root pinned by caCert' : 'root told by status.ca'}`, async () => {
    const deps = createTestDeps();
    const cluster = await startFakeKubernetes({ now: deps.clock.now });
    const controller = await startCertManagerController({ cluster, now: deps.clock.now });
    process.env.KUBECONFIG = await cluster.kubeconfigFor('mesh-ca');
    return {
      module,
      deps,
      conf: {
        issuerRef: { name: TEST_ISSUER },
        ...(isPinned ? { caCert: { inlineString: controller.rootPem } } : {}),
      },
      keyTypes: ['EC-P256', 'EC-P384', 'RSA-2048'],
      stop: cluster.stop,
      async close() {
        await controller.close();
        await cluster.close();
      },
    };
  });
}
