//! Blocks as users write them, right and wrong.

use super::{Block, BlockError, FirstLast};

fn ends(block: Block, first_last: FirstLast) -> (String, String) {
    let range = block.usable(first_last);
    (range.first().to_string(), range.last().to_string())
}

fn message(cidr: Option<&str>, start: Option<&str>, stop: Option<&str>) -> String {
    Block::parse(cidr, start, stop)
        .expect_err("the block is wrong")
        .to_string()
}

#[test]
fn first_and_last_are_reserved_in_a_cidr_only() {
    let ends_of = |block: Result<Block, BlockError>| ends(block.unwrap(), FirstLast::Reserved);
    let pair = |first: &str, last: &str| (first.to_owned(), last.to_owned());
    assert_eq!(
        ends_of(Block::from_cidr("10.10.200.0/29")),
        pair("10.10.200.1", "10.10.200.6")
    );
    assert_eq!(
        ends_of(Block::from_cidr("10.0.0.0/30")),
        pair("10.0.0.1", "10.0.0.2")
    );
    assert_eq!(
        ends_of(Block::from_cidr("10.0.0.2/31")),
        pair("10.0.0.2", "10.0.0.3")
    );
    assert_eq!(
        ends_of(Block::from_cidr("10.0.0.2/32")),
        pair("10.0.0.2", "10.0.0.2")
    );
    assert_eq!(
        ends_of(Block::from_cidr("2001:db8::/126")),
        pair("2001:db8::1", "2001:db8::2")
    );
    assert_eq!(
        ends_of(Block::from_cidr("2001:db8::/127")),
        pair("2001:db8::", "2001:db8::1")
    );
    assert_eq!(
        ends_of(Block::from_cidr("2001:db8::/128")),
        pair("2001:db8::", "2001:db8::")
    );
    assert_eq!(
        ends_of(Block::from_range("10.0.0.0", "10.0.0.7")),
        pair("10.0.0.0", "10.0.0.7")
    );
}

#[test]
fn first_and_last_are_handed_out_by_default() {
    let block = Block::from_cidr("10.10.200.0/29").unwrap();
    assert_eq!(block.usable(FirstLast::default()).len(), 8);
}

#[test]
fn blocks_may_be_as_large_as_the_family() {
    assert_eq!(
        Block::from_cidr("2001:db8::/64").unwrap().range().len(),
        1 << 64
    );
    assert_eq!(Block::from_cidr("::/0").unwrap().range().len(), u128::MAX);
    assert_eq!(
        Block::from_cidr("0.0.0.0/0").unwrap().range().len(),
        1 << 32
    );
    assert_eq!(
        Block::from_cidr("::/0")
            .unwrap()
            .usable(FirstLast::Reserved)
            .len(),
        u128::MAX - 1
    );
}

#[test]
fn host_bits_are_masked_and_told() {
    let block = Block::from_cidr("192.168.100.200/28").unwrap();
    assert_eq!(block.to_string(), "192.168.100.192/28");
    assert_eq!(block.host_bits().unwrap().to_string(), "192.168.100.200");
    assert_eq!(
        Block::from_cidr("192.168.100.192/28").unwrap().host_bits(),
        None
    );
}

#[test]
fn start_alone_is_a_single_address() {
    let block = Block::parse(None, Some("1.2.3.4"), None).unwrap();
    assert_eq!(
        (block.range().len(), block.to_string().as_str()),
        (1, "1.2.3.4")
    );
    let block = Block::parse(None, Some("20.0.20.100"), Some("20.0.20.200")).unwrap();
    assert_eq!(
        (block.range().len(), block.to_string().as_str()),
        (101, "20.0.20.100-20.0.20.200")
    );
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    for (cidr, start, stop, field, remedy) in [
        (None, None, None, "cidr", "write cidr, or start and stop"),
        (
            Some("10.0.0.0/24"),
            Some("10.0.0.1"),
            None,
            "cidr",
            "two blocks",
        ),
        (
            Some("10.0.0.0/24"),
            None,
            Some("10.0.0.1"),
            "cidr",
            "two blocks",
        ),
        (None, None, Some("10.0.0.1"), "start", "write both"),
        (Some("10.0.0.0"), None, None, "cidr", "address/prefix"),
        (Some(""), None, None, "cidr", "address/prefix"),
        (Some("10.0.0/24"), None, None, "cidr", "192.168.1.0/24"),
        (Some("10.0.0.0/"), None, None, "cidr", "192.168.1.0/24"),
        (Some("10.0.0.0/+8"), None, None, "cidr", "192.168.1.0/24"),
        (Some("10.0.0.0/24/8"), None, None, "cidr", "192.168.1.0/24"),
        (Some("10.0.0.0/33"), None, None, "cidr", "at most /32"),
        (Some("10.0.0.0/4096"), None, None, "cidr", "at most /32"),
        (Some("2001:db8::/129"), None, None, "cidr", "at most /128"),
        (None, Some("ten"), Some("10.0.0.1"), "start", "192.168.1.10"),
        (
            None,
            Some("10.0.0.1"),
            Some("10.0.0.256"),
            "stop",
            "192.168.1.10",
        ),
        (None, Some("fe80::1%eth0"), None, "start", "2001:db8::10"),
        (
            None,
            Some("10.0.0.1"),
            Some("2001:db8::1"),
            "stop",
            "a block of its own",
        ),
        (
            None,
            Some("10.0.0.9"),
            Some("10.0.0.1"),
            "stop",
            "swap them",
        ),
    ] {
        let error = Block::parse(cidr, start, stop).expect_err("the block is wrong");
        let text = message(cidr, start, stop);
        assert_eq!(error.field(), field, "{text}");
        assert!(text.starts_with(&format!("{field}: ")), "{text}");
        assert!(text.contains(remedy), "{text}");
    }
}
