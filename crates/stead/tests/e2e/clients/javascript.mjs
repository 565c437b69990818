// Drives a stead with the JavaScript client: typed, informers, streams. Says what it sees; a failure ends it.

import { createConnection, createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const namespace = process.argv[2];
const PATIENCE = 60_000;

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const say = (...words) => console.log(...words);

const set = (name, replicas) => ({
    metadata: { name },
    spec: {
        replicas,
        serviceName: name,
        selector: { matchLabels: { app: name } },
        template: {
            metadata: { labels: { app: name } },
            spec: {
                terminationGracePeriodSeconds: 1,
                containers: [{
                    name: 'web',
                    image: 'busybox',
                    imagePullPolicy: 'Never',
                    command: ['sh', '-c', 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www'],
                    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
                }],
            },
        },
    },
});

/** Resolves with the first object of an informer that is as it should be. */
function until(what, path, list, isSo) {
    const informer = k8s.makeInformer(config, path, list);
    return new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE);
        const look = (kind) => (object) => {
            if (isSo(kind, object)) {
                clearTimeout(late);
                // Not while it hands on what came.
                setImmediate(() => informer.stop());
                resolve(object);
            }
        };
        for (const kind of ['add', 'update', 'delete']) informer.on(kind, look(kind));
        informer.on('error', reject);
        informer.start();
    });
}

async function refused(call) {
    try {
        await call();
    } catch (error) {
        const status = JSON.parse(error.body);
        return `${error.code} ${status.reason}`;
    }
    throw new Error('this should have been refused');
}

const sets = `/apis/apps/v1/namespaces/${namespace}/statefulsets`;
const listSets = () => apps.listNamespacedStatefulSet({ namespace });
const ready = (count) => (kind, found) => (found.status?.readyReplicas ?? 0) === count;

const made = await apps.createNamespacedStatefulSet({ namespace, body: set('db', 2) });
say('made', made.metadata.name, 'with', made.spec.replicas, 'replicas');
say('again:', await refused(() => apps.createNamespacedStatefulSet({ namespace, body: set('db', 2) })));
say('absent:', await refused(() => core.readNamespacedPod({ namespace, name: 'nobody' })));

await until('two are ready', sets, listSets, ready(2));
const pods = await core.listNamespacedPod({ namespace, labelSelector: 'app=db' });
say('pods', pods.items.map((pod) => pod.metadata.name).join(' '));

const scale = await apps.readNamespacedStatefulSetScale({ namespace, name: 'db' });
scale.spec.replicas = 1;
await apps.replaceNamespacedStatefulSetScale({ namespace, name: 'db', body: scale });
await until('db-1 is gone', `/api/v1/namespaces/${namespace}/pods`, () => core.listNamespacedPod({ namespace }),
    (kind, pod) => kind === 'delete' && pod.metadata.name === 'db-1');

const patched = await apps.patchNamespacedStatefulSet(
    { namespace, name: 'db', body: { metadata: { annotations: { by: 'javascript' } } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.StrategicMergePatch),
);
say('patched', patched.metadata.annotations.by);

const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const map = (colour) => ({
    apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace }, data: { colour },
});
const apply = (colour, manager, force) => objects.patch(
    map(colour), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
await apply('red', 'first');
say('conflict:', await refused(() => apply('blue', 'second')));
say('forced', (await apply('blue', 'second', true)).data.colour);

/** What is written to it, as text, once its writer ends. */
function collected() {
    const stream = new PassThrough();
    let text = '';
    stream.on('data', (piece) => { text += piece; });
    return [stream, () => text];
}

const exec = new k8s.Exec(config);
async function run(stdin, ...words) {
    const [out, said] = collected();
    const status = await new Promise((resolve, reject) => {
        exec.exec(namespace, 'db-0', 'web', words, out, null, stdin, false, resolve).catch(reject);
    });
    return [said().trim(), status.status, status.details?.causes?.[0]?.message ?? '0'].join(' ');
}
say('exec', await run(null, 'hostname'));
const input = new PassThrough();
input.end('a line\n');
say('exec', await run(input, 'sh', '-c', 'read line; echo got $line; exit 3'));

const forward = new k8s.PortForward(config);
const server = createServer((socket) => forward.portForward(namespace, 'db-0', [8080], socket, null, socket));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const page = await new Promise((resolve, reject) => {
    const socket = createConnection(server.address().port, '127.0.0.1');
    let text = '';
    socket.setTimeout(PATIENCE, () => reject(new Error('nothing came through the forwarded port')));
    socket.on('data', (piece) => { text += piece; if (text.endsWith('db-0\n')) { socket.destroy(); resolve(text); } });
    socket.on('error', reject);
    socket.write('GET / HTTP/1.0\r\n\r\n');
});
server.close();
say('forwarded', page.trim().split('\n').pop());

await apps.deleteNamespacedStatefulSet({ namespace, name: 'db', propagationPolicy: 'Foreground' });
const left = await apps.listNamespacedStatefulSet({ namespace });
if (left.items.length > 0) await until('the set is gone', sets, listSets, (kind) => kind === 'delete');
say('left', (await core.listNamespacedPod({ namespace })).items.length);
process.exit(0);
