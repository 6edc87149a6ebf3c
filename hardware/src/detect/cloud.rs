//! Which rented machine this is, from the cloud's metadata service. Only on request: it is a network call.
//!
//! Sources: AWS "Use IMDS" (version 2), Azure "Instance Metadata Service", Google Cloud "VM metadata". All three live at the
//! same link-local address and speak plain HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long anybody should wait: the service answers in a few milliseconds or not at all.
pub const METADATA_PATIENCE: Duration = Duration::from_millis(200);

/// The metadata service of every cloud.
const METADATA_SERVICE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);

/// More than any answer we ask for.
const LONGEST_ANSWER: usize = 64 << 10;

/// A rented machine, named as its provider names it in price sheets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInstance {
    /// `aws`, `azure` or `gcp`.
    pub provider: String,
    /// Type of machine.
    pub instance: String,
    /// Where it stands; `None` where the service does not say.
    pub region: Option<String>,
}

/// Asks the metadata service; `None` where nobody answers within `patience`, which is never exceeded.
pub fn cloud_instance(patience: Duration) -> Option<CloudInstance> {
    ask(METADATA_SERVICE, patience)
}

fn ask(service: SocketAddr, patience: Duration) -> Option<CloudInstance> {
    let deadline = Instant::now() + patience;
    let (send, receive) = mpsc::channel();
    for cloud in [aws, azure, google] {
        let send = send.clone();
        // The waiting ends with the deadline whatever the threads do; each ends on its own deadline soon after.
        let asking = thread::Builder::new().name("metadata".to_owned()).spawn(move || {
            let server = Server { address: service, deadline };
            // Nobody listens any more where another cloud has answered.
            drop(send.send(cloud(&server)));
        });
        drop(asking);
    }
    drop(send);
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        match receive.recv_timeout(left) {
            Ok(Some(instance)) => return Some(instance),
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}

fn aws(server: &Server) -> Option<CloudInstance> {
    let token = server.body("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60")?;
    let token = format!("X-aws-ec2-metadata-token: {}", word(&token)?);
    let instance = word(&server.body("GET", "/latest/meta-data/instance-type", &token)?)?;
    let region =
        server.body("GET", "/latest/meta-data/placement/region", &token).and_then(|text| word(&text));
    Some(CloudInstance { provider: "aws".to_owned(), instance, region })
}

fn azure(server: &Server) -> Option<CloudInstance> {
    #[derive(Deserialize)]
    struct Compute {
        #[serde(rename = "vmSize")]
        vm_size: String,
        location: Option<String>,
    }
    let body = server.body(
        "GET",
        "/metadata/instance/compute?api-version=2021-02-01&format=json",
        "Metadata: true",
    )?;
    let compute: Compute = serde_json::from_str(&body).ok()?;
    let instance = word(compute.vm_size.strip_prefix("Standard_").unwrap_or(&compute.vm_size))?;
    Some(CloudInstance {
        provider: "azure".to_owned(),
        instance,
        region: compute.location.as_deref().and_then(word),
    })
}

fn google(server: &Server) -> Option<CloudInstance> {
    let last = |path: &str| {
        let body = server.body("GET", path, "Metadata-Flavor: Google")?;
        word(body.rsplit('/').next()?)
    };
    let instance = last("/computeMetadata/v1/instance/machine-type")?;
    // A zone is its region and a letter: us-central1-a.
    let zone = last("/computeMetadata/v1/instance/zone");
    let region = zone.and_then(|zone| zone.rsplit_once('-').map(|(region, _)| region.to_owned()));
    Some(CloudInstance { provider: "gcp".to_owned(), instance, region })
}

/// A name as clouds give names; a login page that answers in the service's place has none.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=+/".contains(&byte);
    ((1..=256).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

struct Server {
    address: SocketAddr,
    deadline: Instant,
}

impl Server {
    fn left(&self) -> Option<Duration> {
        self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The body of an answer with status 200.
    fn body(&self, method: &str, path: &str, header: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, self.left()?).ok()?;
        stream.set_write_timeout(Some(self.left()?)).ok()?;
        // HTTP/1.0: the server closes after the body and never sends it in chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address.ip()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        let mut part = [0_u8; 4_096];
        loop {
            // Set anew each time, so that a server that drips bytes cannot stretch the deadline.
            stream.set_read_timeout(Some(self.left()?)).ok()?;
            let read = stream.read(&mut part).ok()?;
            if read == 0 {
                break;
            }
            answer.extend_from_slice(part.get(..read)?);
            if answer.len() > LONGEST_ANSWER {
                return None;
            }
        }
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?;
        (status == "200").then(|| body.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A service that answers by path; what it does not know is 404.
    fn serve(answers: &'static [(&'static str, &'static str)]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut request = [0_u8; 1_024];
                let read = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let found = answers.iter().find(|(wanted, _)| request.starts_with(wanted));
                let answer = match found {
                    Some((_, body)) => format!("HTTP/1.0 200 OK\r\nServer: t\r\n\r\n{body}"),
                    None => "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
                };
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        address
    }

    fn found(answers: &'static [(&'static str, &'static str)]) -> Option<(String, String, Option<String>)> {
        let instance = ask(serve(answers), Duration::from_secs(20))?;
        Some((instance.provider, instance.instance, instance.region))
    }

    fn named(provider: &str, instance: &str, region: &str) -> (String, String, Option<String>) {
        (provider.to_owned(), instance.to_owned(), Some(region.to_owned()))
    }

    #[test]
    fn each_cloud_is_recognised_by_its_own_paths() {
        let aws = &[
            ("PUT /latest/api/token", "AQAE=="),
            ("GET /latest/meta-data/instance-type", "p5.48xlarge"),
            ("GET /latest/meta-data/placement/region", "us-east-1"),
        ];
        assert_eq!(found(aws), Some(named("aws", "p5.48xlarge", "us-east-1")));
        let azure = &[(
            "GET /metadata/instance/compute?",
            r#"{"vmSize":"Standard_NC40ads_H100_v5","location":"eastus"}"#,
        )];
        assert_eq!(found(azure), Some(named("azure", "NC40ads_H100_v5", "eastus")));
        let google = &[
            ("GET /computeMetadata/v1/instance/machine-type", "projects/1/machineTypes/a3-highgpu-8g"),
            ("GET /computeMetadata/v1/instance/zone", "projects/1/zones/us-central1-a"),
        ];
        assert_eq!(found(google), Some(named("gcp", "a3-highgpu-8g", "us-central1")));
    }

    #[test]
    fn nobody_home_or_a_login_page_is_no_cloud() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("PUT", "<html>log in</html>"), ("GET", "<html>log in</html>")]), None);
    }

    #[test]
    fn a_service_that_never_answers_is_left_alone() {
        // Accepts connections (the backlog does) and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ask(silent.local_addr().unwrap(), Duration::from_millis(50)), None);
    }
}
