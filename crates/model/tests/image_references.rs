//! Image names against the cases of the reference implementation.

use cloudai_model::ImageRef;
use serde_json::Value;

#[test]
fn every_case_of_the_reference_implementation_is_judged_alike() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("data/image-references.json")).unwrap();
    for case in &cases {
        let input = case["input"].as_str().unwrap();
        let parsed = input.parse::<ImageRef>();
        assert_eq!(
            parsed.is_ok(),
            case["valid"].as_bool().unwrap(),
            "{input}: {parsed:?}"
        );
        if let Err(error) = &parsed {
            let error = error.to_string();
            assert!(error.contains("expected"), "{input}: {error}");
        }
        if let Ok(image) = parsed {
            assert_eq!(image.as_str(), input);
            assert_eq!(
                Some(image.repository()),
                case["repository"].as_str(),
                "{input}"
            );
            assert_eq!(image.domain(), case["domain"].as_str(), "{input}");
            assert_eq!(image.tag(), case["tag"].as_str(), "{input}");
            assert_eq!(image.digest(), case["digest"].as_str(), "{input}");
        }
    }
    assert!(cases.len() > 40, "only {} cases were read", cases.len());
}
