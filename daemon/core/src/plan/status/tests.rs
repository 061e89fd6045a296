use super::*;
use crate::model::Change;
use crate::plan::fixtures::{Cluster, endpoint, ip, name, policy, pool, service, slice};

fn problems(plan: &Plan) -> Vec<String> {
    complaints(plan).iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_that_works_gives_rows_and_no_complaint() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_policy(policy("p"));
    cluster.add_service(service("svc1"));
    cluster.add_slice(slice("s", "svc1", vec![endpoint("10.1.0.2", "n2")]));
    let plan = cluster.plan();
    assert_eq!(problems(&plan), [""; 0]);
    assert_eq!(
        counts(&plan),
        Counts {
            ours: 1,
            satisfied: 1,
            left_out: 0,
            frontends: 1,
            backends: 1
        }
    );
    let told = super::service(&plan, &Accounts::default(), &name("svc1")).expect("it is ours");
    assert_eq!(
        (told.addresses[0].address, &*told.addresses[0].pool),
        (ip("10.10.200.1"), "lan")
    );
    let rows = (pools(&plan), vips(&plan));
    assert_eq!(
        serde_json::to_string(&rows).expect("plain data"),
        concat!(
            r#"[[{"name":"lan","blocks":["10.10.200.0/29"],"disabled":false,"conflicts_with":null,"#,
            r#""total":"6","used":1,"reserved":"0","free":"5"}],"#,
            r#"[{"lease":"landfall-l2-default.svc1","services":["default/svc1"],"#,
            r#""interfaces":{"10.10.200.1":["ens3"]},"hindrances":{},"candidates":["n1","n2","n3"]}]]"#
        )
    );
}

#[test]
fn a_service_nobody_announces_is_complained_of_with_the_remedy() {
    let mut cluster = Cluster::new();
    cluster.add_pool(pool("lan", "10.10.200.0/29"));
    cluster.add_service(service("svc1"));
    assert_eq!(
        problems(&cluster.plan()),
        [
            "plan: Service default/svc1: no node can announce 10.10.200.1; here, no \
          L2AnnouncementPolicy selects the Service; add one, or widen spec.serviceSelector"
        ]
    );
}

#[test]
fn a_refused_request_a_conflicting_pool_and_a_frontend_claimed_twice_name_what_is_at_fault() {
    let mut cluster = Cluster::new();
    cluster.add_policy(policy("p"));
    cluster.add_pool(pool("a", "10.10.200.0/29"));
    cluster.add_pool(pool("b", "10.10.200.0/28"));
    let claiming = |service_name: &str, created| {
        let mut service = service(service_name);
        service.created = created;
        service.service_type = crate::model::ServiceType::ClusterIp;
        service.external_ips = vec![ip("10.10.200.99")];
        service
    };
    cluster.add_service(claiming("old", 1));
    cluster.add_service(claiming("young", 2));
    let mut wish = service("wish");
    wish.requested_ips = vec![ip("203.0.113.1")];
    cluster.add_service(wish);
    let found = problems(&cluster.plan());
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].contains("Service default/wish") && found[0].contains("203.0.113.1"),
        "{}",
        found[0]
    );
    assert!(
        found[1].starts_with("plan: LoadBalancerIPPool b: spec.blocks: 10.10.200.0/28 overlaps"),
        "{}",
        found[1]
    );
    assert_eq!(
        found[2],
        "plan: Service default/young: spec.ports: 10.10.200.99 port 80/TCP belongs to the older Service \
         default/old; use another port or address"
    );
    cluster.fold(Change::Service(name("old"), None));
    assert_eq!(problems(&cluster.plan()).len(), 2);
}

#[test]
fn a_vip_that_is_a_node_s_own_address_is_an_error_of_its_service() {
    let mut cluster = Cluster::new();
    cluster.add_policy(policy("p"));
    let mut external = service("svc1");
    external.service_type = crate::model::ServiceType::ClusterIp;
    external.external_ips = vec![ip("10.10.200.12")];
    cluster.add_service(external);
    assert_eq!(
        problems(&cluster.plan()),
        [
            "plan: Service default/svc1: 10.10.200.12 is a node's own address and is not announced; ask for \
          another address"
        ]
    );
}
