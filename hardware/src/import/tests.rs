//! Importers against files of each format's shape, written for these tests.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::money::{Usd, UsdPerHour};
use crate::sheet::{ComputeQuery, Service, Term};

fn source(file: &str) -> ImportSource<'_> {
    ImportSource { file, as_of: AsOf::Day(date(2026, 11, 23)), provider: Some("lambda") }
}

fn take(format: ImportFormat, text: &str) -> Imported {
    import(format, &source("f"), text.as_bytes()).unwrap()
}

fn refuse(format: ImportFormat, text: &str) -> String {
    import(format, &source("f"), text.as_bytes()).unwrap_err().to_string()
}

fn usd(text: &str) -> Usd {
    Usd(text.parse().unwrap())
}

const LITELLM: &str = r#"{
  "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of: chat, embedding"},
  "gpt-x": {
    "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 400000, "max_output_tokens": 8192,
    "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 2e-07,
    "input_cost_per_token_above_200k_tokens": 4e-06,
    "output_cost_per_token_above_200k_tokens": 1.5e-05,
    "input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 5e-06,
    "input_cost_per_token_priority": 3.5e-06,
    "input_cost_per_audio_token": 1e-05,
    "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_medium": 0.02}
  },
  "groq/llama": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 5e-08, "output_cost_per_token": 8e-08},
  "dashscope/q": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
    {"range": [0, 256000.0], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07},
    {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}]},
  "dall-e": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1.9e-08},
  "local": {"litellm_provider": "ollama", "mode": "chat"}
}"#;

#[test]
fn litellm_reads_every_dimension_and_says_what_it_left() {
    let Imported { book, report } = take(ImportFormat::Litellm, LITELLM);
    assert_eq!((report.rows, report.taken, report.skipped_rows()), (6, 3, 3));
    assert_eq!(report.skipped.get("has no price a token"), Some(&1));
    assert_eq!(report.ignored_prices.get("input_cost_per_audio_token"), Some(&1));
    let model = book.find_api("openai", "gpt-x").unwrap();
    assert_eq!(model.standard().input.unwrap().0, usd("2"));
    assert_eq!(model.standard().cached_read.unwrap().0, usd("0.2"));
    let (above, threshold) = model.rates(Service::Standard, 200_001);
    assert_eq!((above.output.unwrap().0, threshold), (usd("15"), Some(200_000)));
    assert_eq!(above.cached_read.unwrap().0, usd("0.2"), "silent above the threshold");
    let (batch, threshold) = model.rates(Service::Batch, 200_001);
    assert_eq!((batch.input.unwrap().0, batch.cached_read, threshold), (usd("1"), None, None));
    let (priority, _) = model.rates(Service::Priority, 1);
    assert_eq!((priority.input.unwrap().0, priority.output.unwrap().0), (usd("3.5"), usd("10")));
    assert_eq!(model.usd_per_tool_call, Some(usd("0.02")));
    assert_eq!(model.origin.line, 3);
    assert!(book.find_api("groq", "llama").is_some());
    let tiered = book.find_api("dashscope", "q").unwrap();
    assert_eq!(tiered.rates(Service::Standard, 256_000).0.input.unwrap().0, usd("0.05"));
    assert_eq!(tiered.rates(Service::Standard, 256_001).0.cached_read.unwrap().0, usd("0.25"));
}

#[test]
fn litellm_refuses_a_bad_file_with_its_line() {
    let bad = LITELLM.replace("3.5e-06", "-1");
    assert!(
        refuse(ImportFormat::Litellm, &bad)
            .starts_with("f:10: input_cost_per_token_priority is `-1`, expected a price")
    );
    let bad = LITELLM.replace("3.5e-06", "NaN");
    assert!(
        refuse(ImportFormat::Litellm, &bad).starts_with("f:10: "),
        "{}",
        refuse(ImportFormat::Litellm, &bad)
    );
    let bad = LITELLM.replace("3.5e-06", "1e999");
    assert!(
        refuse(ImportFormat::Litellm, &bad).starts_with("f:10: "),
        "{}",
        refuse(ImportFormat::Litellm, &bad)
    );
    let bad = LITELLM.replace("\"local\"", "\"gpt-x\"");
    assert!(
        refuse(ImportFormat::Litellm, &bad).contains("gpt-x is"),
        "{}",
        refuse(ImportFormat::Litellm, &bad)
    );
    assert!(refuse(ImportFormat::Litellm, "[1]").starts_with("f:1: "));
    assert!(refuse(ImportFormat::Litellm, "{}").starts_with("f:1: file holds no prices"));
    assert!(refuse(ImportFormat::Litellm, &LITELLM[..300]).contains("EOF"));
    let large = " ".repeat(50_000_000);
    assert!(
        refuse(ImportFormat::Litellm, &large).starts_with("f:1: file has 50000000 bytes, expected at most")
    );
    assert!(
        import(ImportFormat::Litellm, &source("f"), b"{\n\"\xff\": 1}")
            .unwrap_err()
            .to_string()
            .starts_with("f:2: byte")
    );
}

#[test]
fn importing_twice_changes_nothing() {
    for (format, text) in [
        (ImportFormat::Litellm, LITELLM),
        (ImportFormat::Skypilot, SKYPILOT),
        (ImportFormat::Gpuhunt, GPUHUNT),
        (ImportFormat::AzureRetail, AZURE),
        (ImportFormat::AwsOffer, AWS),
        (ImportFormat::Openrouter, OPENROUTER),
    ] {
        let mut book = PriceBook::built_in().unwrap();
        book.overlay(take(format, text).book);
        let once = book.clone();
        book.overlay(take(format, text).book);
        assert!(book == once, "{format}");
    }
}

const SKYPILOT: &str = "\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
p4d.24xlarge,96.0,1152.0,A100,8.0,\"{'Gpus': [{'Name': 'A100'}]}\",us-east-1,us-east-1a,21.957642,9.8
p4d.24xlarge,96.0,1152.0,A100,8.0,\"{'Gpus': [{'Name': 'A100'}]}\",us-east-1,us-east-1b,21.957642,10.1
m6i.large,2.0,8.0,,,,us-east-1,us-east-1a,0.096,
x.none,2.0,8.0,,,,us-east-1,us-east-1a,,
";

#[test]
fn skypilot_has_a_row_a_zone_and_two_prices_a_row() {
    let Imported { book, report } = take(ImportFormat::Skypilot, SKYPILOT);
    assert_eq!(report.rows, 4);
    assert_eq!(report.skipped.get("repeats a row before it"), Some(&1));
    assert_eq!(report.skipped.get("has no price in this zone"), Some(&1));
    let spot =
        ComputeQuery { device: Some("A100".to_owned()), term: Some(Term::Spot), ..ComputeQuery::default() };
    let spot = book.find_compute(&spot);
    assert_eq!((spot.len(), spot[0].region.as_deref(), spot[0].device_count), (2, Some("us-east-1a"), 8));
    let cpu = ComputeQuery { device: Some("CPU".to_owned()), ..ComputeQuery::default() };
    assert_eq!(book.find_compute(&cpu)[0].sku.as_deref(), Some("2.0 vCPU, 8.0 GiB"));
    assert!(
        refuse(ImportFormat::Skypilot, &SKYPILOT.replace("21.957642,9.8", "-3,9.8"))
            .starts_with("f:2: Price is `-3`")
    );
    assert!(refuse(ImportFormat::Skypilot, "a,b\n1,2\n").starts_with("f:1: no column `InstanceType`"));
}

const GPUHUNT: &str = "\
instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor
gpu_1x_h100,us-west-1,2.49,26,200,1,H100,80.0,False,512,nvidia
gpu_1x_h100,us-west-1,1.49,26,200,1,H100,80.0,True,512,nvidia
cpu_4x,us-west-1,0.1,4,16,0,,,False,,
";

#[test]
fn gpuhunt_tells_spot_from_on_demand() {
    let Imported { book, report } = take(ImportFormat::Gpuhunt, GPUHUNT);
    assert_eq!((report.rows, report.taken), (3, 3));
    let h100 = ComputeQuery { device: Some("H100".to_owned()), ..ComputeQuery::default() };
    let terms: Vec<Term> = book.find_compute(&h100).iter().map(|row| row.term).collect();
    assert_eq!(terms, [Term::Spot, Term::OnDemand]);
    assert!(
        refuse(ImportFormat::Gpuhunt, &GPUHUNT.replace("True", "maybe")).starts_with("f:3: spot is `maybe`")
    );
}

const AZURE: &str = r#"{"BillingCurrency": "USD", "Items": [
 {"currencyCode": "USD", "retailPrice": 98.32, "armRegionName": "eastus", "armSkuName": "Standard_ND96isr_H100_v5",
  "skuName": "ND96isr H100 v5", "meterName": "ND96isr H100 v5", "productName": "Virtual Machines NDsr H100 v5 Series",
  "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Consumption"},
 {"currencyCode": "USD", "retailPrice": 87600, "reservationTerm": "1 Year", "armRegionName": "eastus",
  "armSkuName": "Standard_D4s_v5", "skuName": "D4s v5", "meterName": "D4s v5", "productName": "Virtual Machines DSv5 Series",
  "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Reservation"},
 {"currencyCode": "USD", "retailPrice": 1, "armSkuName": "Standard_D4s_v5", "productName": "Virtual Machines DSv5 Series Windows",
  "skuName": "D4s v5", "meterName": "D4s v5", "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Consumption"},
 {"currencyCode": "USD", "retailPrice": 1, "serviceName": "Storage"}
]}"#;

#[test]
fn azure_reservations_are_priced_by_their_whole_time() {
    let Imported { book, report } = take(ImportFormat::AzureRetail, AZURE);
    assert_eq!((report.rows, report.taken, report.skipped_rows()), (4, 2, 2));
    let h100 = ComputeQuery { device: Some("H100".to_owned()), ..ComputeQuery::default() };
    assert_eq!(book.find_compute(&h100)[0].usd_per_device_hour(), UsdPerHour(usd("12.29")));
    let reserved = ComputeQuery { term: Some(Term::Reserved1y), ..ComputeQuery::default() };
    assert_eq!(book.find_compute(&reserved)[0].usd_per_hour, UsdPerHour(usd("10")));
    let euros = AZURE.replacen("USD\", \"retailPrice\": 98", "EUR\", \"retailPrice\": 98", 1);
    assert!(refuse(ImportFormat::AzureRetail, &euros).starts_with("f:2: currency is `EUR`, expected USD"));
}

const AWS: &str = "\
\"FormatVersion\",\"v1.0\"
\"Disclaimer\",\"This pricing list is for informational purposes only.\"
\"Publication Date\",\"2026-11-01T10:11:12Z\"
\"Version\",\"20261101101112\"
\"OfferCode\",\"AmazonEC2\"
\"SKU\",\"TermType\",\"Unit\",\"PricePerUnit\",\"Currency\",\"LeaseContractLength\",\"PurchaseOption\",\"OfferingClass\",\"Instance Type\",\"vCPU\",\"Memory\",\"Tenancy\",\"Operating System\",\"CapacityStatus\",\"GPU\",\"Pre Installed S/W\",\"Region Code\"
\"A\",\"OnDemand\",\"Hrs\",\"55.04\",\"USD\",\"\",\"\",\"\",\"p5.48xlarge\",\"192\",\"2048 GiB\",\"Shared\",\"Linux\",\"Used\",\"8\",\"NA\",\"us-east-1\"
\"A\",\"Reserved\",\"Hrs\",\"30.5\",\"USD\",\"3yr\",\"No Upfront\",\"standard\",\"p5.48xlarge\",\"192\",\"2048 GiB\",\"Shared\",\"Linux\",\"Used\",\"8\",\"NA\",\"us-east-1\"
\"A\",\"Reserved\",\"Quantity\",\"500000\",\"USD\",\"3yr\",\"All Upfront\",\"standard\",\"p5.48xlarge\",\"192\",\"2048 GiB\",\"Shared\",\"Linux\",\"Used\",\"8\",\"NA\",\"us-east-1\"
\"B\",\"OnDemand\",\"Hrs\",\"0.2\",\"USD\",\"\",\"\",\"\",\"m6i.large\",\"2\",\"8 GiB\",\"Shared\",\"Windows\",\"Used\",\"\",\"NA\",\"us-east-1\"
\"B\",\"OnDemand\",\"Hrs\",\"0.096\",\"USD\",\"\",\"\",\"\",\"m6i.large\",\"2\",\"8 GiB\",\"Shared\",\"Linux\",\"Used\",\"\",\"NA\",\"us-east-1\"
";

#[test]
fn aws_takes_plain_hours_and_the_files_own_date() {
    let Imported { book, report } = take(ImportFormat::AwsOffer, AWS);
    assert_eq!((report.rows, report.taken), (5, 3));
    let reserved = ComputeQuery { term: Some(Term::Reserved3y), ..ComputeQuery::default() };
    let row = book.find_compute(&reserved)[0];
    assert_eq!((row.device.as_str(), row.device_count), ("H100", 8));
    assert_eq!(row.origin.as_of, AsOf::Day(date(2026, 11, 1)));
    assert_eq!(row.origin.line, 8);
    let open = AWS.replacen("\"55.04\"", "\"55.04", 1);
    assert!(
        refuse(ImportFormat::AwsOffer, &open).starts_with("f:7: "),
        "{}",
        refuse(ImportFormat::AwsOffer, &open)
    );
}

const OPENROUTER: &str = r#"{"data": [
 {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
 {"id": "meta/llama", "context_length": 131072,
  "pricing": {"prompt": "0.0000001", "completion": "0.00000032", "request": "0", "image": "0.001", "input_cache_read": "0"}}
]}"#;

#[test]
fn openrouter_prices_are_text_and_the_router_has_none() {
    let Imported { book, report } = take(ImportFormat::Openrouter, OPENROUTER);
    assert_eq!((report.rows, report.taken, report.ignored_prices.get("image")), (2, 1, Some(&1)));
    let model = book.find_api("openrouter", "meta/llama").unwrap();
    assert_eq!(model.standard().input.unwrap().0, usd("0.1"));
    assert_eq!(model.standard().cached_read, None, "zero means not priced apart");
    let bad = OPENROUTER.replace("0.00000032", "cheap");
    assert!(refuse(ImportFormat::Openrouter, &bad).starts_with("f:4: completion is `\"cheap\"`"));
}

proptest! {
    #[test]
    fn no_bytes_make_an_importer_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for format in ImportFormat::ALL {
            let _ = import(format, &source("f"), &bytes);
        }
    }

    /// Cuts a valid file short or overwrites a part of it: near-valid files reach deeper than noise.
    #[test]
    fn no_damage_makes_an_importer_panic(at in 0_usize..2_000, junk in "[-0-9a-z\",:\\[\\]{}.\n]{0,6}", keep in any::<bool>()) {
        for (format, text) in [
            (ImportFormat::Litellm, LITELLM), (ImportFormat::Skypilot, SKYPILOT), (ImportFormat::Gpuhunt, GPUHUNT),
            (ImportFormat::AzureRetail, AZURE), (ImportFormat::AwsOffer, AWS), (ImportFormat::Openrouter, OPENROUTER),
        ] {
            let at = at % text.len();
            let mut bytes = text.as_bytes()[..at].to_vec();
            bytes.extend_from_slice(junk.as_bytes());
            if keep {
                bytes.extend_from_slice(text.as_bytes().get(at + junk.len()..).unwrap_or_default());
            }
            let _ = import(format, &source("f"), &bytes);
        }
    }
}

#[test]
fn a_share_of_an_accelerator_is_no_price_of_one() {
    let text = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region\n\
        half,4,16,A10,0.5,,1.2,,eastus\nwhole,8,32,A10,1.0,,2.4,,eastus\n";
    let source = ImportSource { file: "vms.csv", as_of: AsOf::Undated, provider: Some("azure") };
    let imported = import(ImportFormat::Skypilot, &source, text.as_bytes()).unwrap();
    assert_eq!(imported.report.skipped.get("rents a share of an accelerator"), Some(&1));
    let names: Vec<_> = imported.book.compute.iter().map(|price| price.instance.as_deref()).collect();
    assert_eq!(names, [Some("whole")]);
}
